"""Parking: what a stay costs and minutes of it are worth, plates, stays and what they are given."""
