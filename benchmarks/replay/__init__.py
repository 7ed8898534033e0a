"""Replay: campaigns against withheld labels, with every strong baseline."""
