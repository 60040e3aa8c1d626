"""What a coupon engine is; knows no HTTP."""
