"""The web page: a Gradio front end that knows the gateway, through `shared.client`, and nothing behind it."""
