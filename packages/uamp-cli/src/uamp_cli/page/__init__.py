"""`uamp demo --ui`: the page in a browser where people point at objects, track them and take the result away.

`server` opens it, `layout` says what it shows, `actions` does what people ask for, on the `state` of one browser tab.
Only `layout` and `server` know Gradio.
"""
