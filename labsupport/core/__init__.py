"""What every lab stands on: networks, layers, images, devices."""
