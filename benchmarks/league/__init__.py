"""The league: rivals and ours on the same concepts, side by side."""
