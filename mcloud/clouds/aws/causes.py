"""Known reasons for refusals by AWS; see ``mcloud.clouds.causes``."""

from mcloud.clouds.causes import RENAME, TAKEN, Cause

PROCESS = "run the `credential_process` of the AWS profile by hand, and correct it"

CAUSES = (
    Cause(
        r"retrieving credentials from custom-process",
        "the program that gets the AWS credentials fails",
        PROCESS,
    ),
    Cause(
        r"reauthenticate using 'aws login'|login session [Tt]oken|login authorization code"
        r"|Your AWS login session",
        "the AWS login session has expired",
        "sign in again with `aws login`",
        is_whole=True,
    ),
    Cause(
        r"signin:CreateOAuth2Token",
        "the AWS login session cannot be refreshed",
        "have the action signin:CreateOAuth2Token granted, or sign in with `aws sso login`",
    ),
    Cause(
        r"Cannot refresh credentials: MFA token required",
        "the session with MFA has expired",
        "run the command again in a terminal, and enter the MFA code",
        is_whole=True,
    ),
    Cause(
        # SigV4 allows a clock to be wrong by 5 minutes, S3 and STS by 15 minutes.
        r"RequestTimeTooSkewed|Signature expired: |Signature not yet current",
        "this machine's clock is wrong, so that AWS rejects its signatures",
        "set the clock, for example with `timedatectl set-ntp true`",
        is_whole=True,
    ),
    Cause(
        r"ExpiredToken|RequestExpired|TokenRefreshRequired"
        r"|token included in the request is expired|[Tt]oken has expired"
        r"|refresh cached SSO token failed|SSO session .*(?:expired|invalid)"
        r"|Error loading SSO [Tt]oken|Error when retrieving token from",
        "the AWS credentials have expired",
        "sign in again, for example with `aws sso login`",
        is_whole=True,
    ),
    Cause(
        r"No valid credential sources found|no EC2 IMDS role found|NoCredentialProviders"
        r"|Unable to locate credentials|Partial credentials found",
        "there are no AWS credentials",
        "run `aws configure sso`, or set AWS_PROFILE",
        is_whole=True,
    ),
    Cause(
        r"config profile \((?P<profile>[^)]+)\) could not be found"
        r"|failed to get shared config profile, (?P<given>\S+)",
        "the AWS profile that AWS_PROFILE names does not exist",
        "set AWS_PROFILE to one that `aws configure list-profiles` shows",
        is_whole=True,
    ),
    Cause(
        r"OptInRequired|SubscriptionRequiredException|not subscribed to this service"
        r"|PendingVerification|account is (?:pending|currently being) verif",
        "AWS has not yet opened this account for the service or the region",
        "complete the registration of the account in the AWS console, and wait up to 4 hours",
    ),
    Cause(
        r"AllAccessDisabled|AccountProblem|account is suspended|AccountSuspended",
        "AWS has closed or suspended this account",
        "check the account's bills and messages in the AWS console",
    ),
    Cause(
        r"InvalidClientTokenId|UnrecognizedClientException|InvalidAccessKeyId|InvalidToken"
        r"|SignatureDoesNotMatch|InvalidSignatureException"
        r"|AuthFailure|security token included in the request is invalid",
        "AWS does not recognise these credentials",
        # STS gives the same answer in an opt-in region that the account has not enabled:
        # https://github.com/hashicorp/terraform-provider-aws/issues/32549
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; if they are right, "
        "enable the region with `aws account enable-region --region-name REGION`",
        is_whole=True,
    ),
    Cause(
        r"(?:explicit deny in|no) (?:a )?(?P<kind>service|resource) control policy",
        "a {kind} control policy of the AWS organization forbids it",
        "ask the organization's administrator to allow it, or use another region or account",
    ),
    Cause(
        r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint"
        r"|requested bucket from \S+, actual location",
        "the bucket is in another region",
        "correct `region` in mcloud.toml",
    ),
    Cause(
        r"EntityAlreadyExists|BucketAlreadyExists|BucketAlreadyOwnedByYou|QueueNameExists"
        r"|(?:Table|Function) already exist",
        TAKEN,
        RENAME,
    ),
    Cause(
        r"invalid AWS Region: (?P<region>\S+)",
        "there is no AWS region {region}",
        "correct `region` in mcloud.toml",
        is_whole=True,
    ),
    Cause(
        r"Throttling|Rate exceeded|TooManyRequests|RequestLimitExceeded|SlowDown",
        "AWS limits the rate of requests of this account",
        "wait a minute",
    ),
    Cause(
        r"LimitExceeded|TooManyBuckets|QuotaExceeded|UnreservedConcurrentExecution",
        "a quota does not allow it",
        "ask AWS for a higher quota, or set a smaller value in the site's `variables`"
        " (a new AWS account: leave out `reserve_concurrency`)",
    ),
)

LACKS = Cause(
    r"AccessDenied|UnauthorizedOperation|is not authorized to perform",
    "a permission is missing",
    "have it granted (`mcloud doctor` lists what is missing)",
)
"""Causes for a missing permission. They are tried last: other refusals use the same words."""

MISSING = Cause(
    r"NonExistentQueue|QueueDoesNotExist|NoSuchBucket|ResourceNotFoundException",
    "a resource of the site does not exist on AWS",
    "run `mcloud deploy`, or correct the names of the site's resources in mcloud.toml",
)
"""Causes for a missing resource of a deployed site. Terraform also says this before a create."""
