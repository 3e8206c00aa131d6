"""`uamp demo --ui`: the page in a browser where people point at objects, track them and take the result away.

`server` opens it, `layout` says what stands where, `wiring` what each click calls, `actions` does what people ask for,
on the `state` of one browser tab. Only `server`, `layout` and `wiring` know Gradio.
"""
