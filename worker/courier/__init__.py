"""The courier: tells tenants' webhooks of their jobs' ends. A worker without a GPU and without torch."""
