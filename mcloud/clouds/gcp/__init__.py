"""Google Cloud: Pub/Sub, Cloud Functions, Firestore, Cloud Storage, Cloud Monitoring."""
