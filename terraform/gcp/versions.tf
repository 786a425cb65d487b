terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.15, < 8"
    }
  }
}

provider "google" {
  project        = var.project
  region         = var.region
  default_labels = local.labels

  # Some APIs, such as that of budgets, require the project whose quota a request uses.
  user_project_override = true
  billing_project       = var.project
}
