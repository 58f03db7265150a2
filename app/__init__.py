"""The page. It knows Gradio; models and data it reaches only through `app.workspace`."""
