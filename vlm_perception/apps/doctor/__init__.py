"""Checks an installation and says what to do. Standard library only, because what it looks at may be broken.

What has to be imported to be judged is imported in a child process (`probe.py`), so that a crash becomes a finding.
"""
