"""Every attack of `space audit` on erasures by ours and by rivals."""
