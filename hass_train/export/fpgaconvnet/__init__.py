"""fpgaConvNet's files: an annotated ONNX model, and config.json, the design in the words of its `fpgaconvnet.proto`."""
