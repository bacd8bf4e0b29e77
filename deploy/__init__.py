"""How the parts are brought up together: the local stack, the containers, and the keys that both need."""
