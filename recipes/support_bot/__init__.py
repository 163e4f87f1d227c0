"""Order status and product recommendation: imitate (SFT), then prefer the right answer to the usual mistakes (DPO)."""
