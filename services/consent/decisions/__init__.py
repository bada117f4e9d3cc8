"""Was it allowed, at which instant, by which rule and on what evidence? And what of it must be asked again?"""
