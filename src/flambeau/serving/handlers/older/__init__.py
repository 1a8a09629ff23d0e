"""What only code written against TorchServe's older interfaces, and users' tests of their handlers, import."""
