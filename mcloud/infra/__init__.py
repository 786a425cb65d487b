"""Infrastructure: function bundles and what provisions a site."""
