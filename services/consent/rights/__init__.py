"""What a member may ask (clause 5): access, correction, deletion, suspension, each with its clock and its answer."""
