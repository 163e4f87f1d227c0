"""What the trainer reaches the world through; the only place that imports torch, transformers, trl, peft, datasets."""
