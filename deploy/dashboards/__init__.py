"""What Grafana shows of Darkroom: three dashboards, said in Python, written as the JSON that it reads."""
