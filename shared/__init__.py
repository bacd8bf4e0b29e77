"""What the gateway, the workers and the page agree on; imports none of fastapi, gradio or torch."""
