"""Infrastructure: the bundles of the functions, and the provisioners of a site."""
