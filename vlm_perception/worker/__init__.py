"""Asks the model beside the cameras, times out, backs off and delivers."""
