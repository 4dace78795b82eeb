"""What decides: pure, no third party; and the ports that the rest plugs into."""
