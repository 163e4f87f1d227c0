"""Pure rules over received events and their texts."""
