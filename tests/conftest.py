"""Fixtures of all tests. The Hub's come first: they must be set up before anything imports its client."""

from hub_fixtures import hub

__all__ = ["hub"]
