"""The raw protobuf classes of Firestore, without their proto-plus wrappers.

Importing the types also loads part of the client (0.15 s and 30 MB here), which is acceptable at
start-up. At run time only these classes are used.
"""

from typing import Any, TypeAlias

from google.cloud.firestore_v1 import types
from google.protobuf.empty_pb2 import Empty as Empty
from google.protobuf.timestamp_pb2 import Timestamp

# mypy cannot check generated messages. These names document the content of an Any.
DocumentMessage: TypeAlias = Any
FieldsMessage: TypeAlias = Any
ValueMessage: TypeAlias = Any

Document: Any = types.Document.pb()
Value: Any = types.Value.pb()
WriteResult: Any = types.WriteResult.pb()
StructuredQuery: Any = types.StructuredQuery.pb()
TargetChange: Any = types.TargetChange.pb()

BatchGetDocumentsRequest: Any = types.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse: Any = types.BatchGetDocumentsResponse.pb()
BatchWriteRequest: Any = types.BatchWriteRequest.pb()
BatchWriteResponse: Any = types.BatchWriteResponse.pb()
BeginTransactionRequest: Any = types.BeginTransactionRequest.pb()
BeginTransactionResponse: Any = types.BeginTransactionResponse.pb()
CommitRequest: Any = types.CommitRequest.pb()
CommitResponse: Any = types.CommitResponse.pb()
GetDocumentRequest: Any = types.GetDocumentRequest.pb()
ListenRequest: Any = types.ListenRequest.pb()
ListenResponse: Any = types.ListenResponse.pb()
ListCollectionIdsRequest: Any = types.ListCollectionIdsRequest.pb()
ListCollectionIdsResponse: Any = types.ListCollectionIdsResponse.pb()
ListDocumentsRequest: Any = types.ListDocumentsRequest.pb()
ListDocumentsResponse: Any = types.ListDocumentsResponse.pb()
RollbackRequest: Any = types.RollbackRequest.pb()
RunAggregationQueryRequest: Any = types.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse: Any = types.RunAggregationQueryResponse.pb()
RunQueryRequest: Any = types.RunQueryRequest.pb()
RunQueryResponse: Any = types.RunQueryResponse.pb()


def timestamp(microseconds: int) -> Timestamp:
    """Return microseconds since the epoch as a protobuf Timestamp."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def microseconds(stamp: Timestamp) -> int:
    """Return a protobuf Timestamp in microseconds since the epoch, rounded down."""
    return int(stamp.seconds) * 1_000_000 + int(stamp.nanos) // 1_000
