"""The one thread that asks the model, times out, backs off and delivers."""
