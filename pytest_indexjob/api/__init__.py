"""The contract of the service: its models, its calls, its errors.

Imports nothing else of this package.
"""
