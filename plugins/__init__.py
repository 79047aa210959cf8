"""The built-in parts: one plugin module per topic, found by the same entry point as anyone's.

Importing this package imports none of them; README.md lists what each offers.
"""
