"""The demo model: a small trained checkpoint of SSD-1B's own classes that draws simple shapes."""
