"""Known reasons for refusals by Google Cloud; see ``mcloud.clouds.causes``."""

from mcloud.clouds.causes import RENAME, TAKEN, Cause

SIGN_IN = "run `gcloud auth application-default login`, or correct GOOGLE_APPLICATION_CREDENTIALS"

# The project and the API, as they appear in the sentence of an error or in its ErrorInfo. In a
# sentence any word may follow "project", so an id there has to include a digit or a hyphen.
_ID = r"[a-z][a-z0-9-]{4,28}[a-z0-9]|\d{6,}"
_PROJECT = (
    r"(?=(?:.*?\b[Pp]rojects?(?:(?:=|/)|(?: '?#?)(?=[a-z-]*[0-9]|[a-z]+-))"
    rf"(?P<project>{_ID})\b)?)"
)
_API = r"(?=(?:.*?(?<![\w.@])(?P<api>(?!www|console|developers)[a-z]+\.googleapis\.com))?)"

CAUSES = (
    Cause(
        # Google rejects a JWT by its iat and exp:
        # https://cloud.google.com/storage/docs/troubleshooting.
        r"Token must be a short-lived token|[Tt]oken used too (?:early|late)",
        "this machine's clock is wrong, so that Google rejects its signatures",
        "set the clock, for example with `timedatectl set-ntp true`",
        is_whole=True,
    ),
    Cause(
        r"invalid_grant|reauth related error|[Rr]eauthentication (?:is )?(?:needed|failed)"
        r"|oauth2: cannot fetch token|Error 401|\A401 |ACCESS_TOKEN_EXPIRED|CREDENTIALS_MISSING"
        r"|invalid authentication credentials",
        "the Google credentials have expired or were revoked",
        SIGN_IN,
        is_whole=True,
    ),
    Cause(
        r"could not find default credentials|[Dd]efault credentials were not found"
        r"|Attempted to load application default credentials|No credentials loaded",
        "there are no Google credentials",
        SIGN_IN,
        is_whole=True,
    ),
    Cause(
        # https://github.com/terraform-google-modules/terraform-example-foundation/issues/353. The
        # ErrorInfo says SERVICE_DISABLED, but names a project of Google.
        r"authenticated using end user credentials|requires a quota project",
        "this Google API needs a project that your own account is billed to",
        "run `gcloud auth application-default set-quota-project {project}`",
    ),
    Cause(
        r"(?:(?=.*BILLING_DISABLED)|(?=.*(?:requires billing to be enabled|has billing disabled"
        r"|Billing must be enabled|UREQ_PROJECT_BILLING_NOT_FOUND|accountDisabled"
        r"|billing account for the owning project is disabled"
        r"|associated with an? (?:absent|closed|delinquent) billing account)))" + _PROJECT,
        "the Google project has no active billing account",
        "run `gcloud billing projects link {project} --billing-account=ACCOUNT`"
        " (`gcloud billing accounts list` shows the accounts), and wait a few minutes",
    ),
    Cause(
        r"(?=.*(?:SERVICE_DISABLED|accessNotConfigured|has not been used in project"
        r"|it is disabled\. Enable it by visiting))" + _API + _PROJECT,
        "the API {api} is disabled in the Google project {project}",
        "run `gcloud services enable {api} --project {project}`, and wait a few minutes",
    ),
    Cause(
        r"violates constraint|[Cc]onstraint constraints/\S+ violated|orgpolicy|constraints/[a-z]+\."
        r"|belong to a permitted customer|prohibited by organization's policy"
        r"|[Oo]rganization [Pp]olicy|SECURITY_POLICY_VIOLATED",
        "a policy of the Google organization forbids it",
        "ask the organization's administrator to allow it for the project, or choose a `region`"
        " in mcloud.toml that the policy allows",
    ),
    Cause(
        r"[Pp]roject \S+ (?:was )?not found|requested project was not found|CONSUMER_INVALID"
        r"|Permission denied on resource project|USER_PROJECT_DENIED|CONSUMER_SUSPENDED"
        r"|may not exist or .*project|permission to access Project .* or it may not exist",
        "the Google project is wrong, or you have no access to it",
        "correct `project` in mcloud.toml: its id, not its name or number",
    ),
    Cause(
        r"per minute|rateLimitExceeded|RATE_LIMIT_EXCEEDED|Too Many Requests",
        "Google limits the rate of requests of this project",
        "wait a minute",
    ),
    Cause(
        r"Quota exceeded|quotaExceeded|RESOURCE_EXHAUSTED|Quota limit",
        "a quota does not allow it",
        "ask Google for a higher quota, or set a smaller value in the site's `variables`",
    ),
    Cause(
        # A role's id is blocked from day 7 to day 37 after its deletion.
        # https://cloud.google.com/iam/docs/creating-custom-roles#deleting-custom-role
        r"role_id .*(?:marked for deletion|in a deleted state)",
        "a custom role with this name was deleted less than 37 days ago",
        "give the site another `name` in mcloud.toml, or wait until the 37 days have passed",
    ),
    Cause(
        r"bucket namespace is shared by all users|that name is not available"
        r"|and you already own it|Error 409.*already exists",
        TAKEN,
        RENAME,
    ),
    Cause(
        # Terraform's provider names the project of the stack as the one whose quota it uses.
        rf"required permission to use project (?P<project>{_ID})",
        "the permission `serviceusage.services.use` is missing in the Google project {project}",
        "give the account a role of `mcloud permissions gcp`, or roles/serviceusage"
        ".serviceUsageConsumer, and wait a few minutes",
    ),
    Cause(
        r"Database ID .* is not available in project .*retry in (?P<seconds>\d+) seconds",
        "a Firestore database with this name was deleted a moment ago",
        "wait {seconds} seconds",
    ),
)

LACKS = Cause(
    r"Error 403|\A403 |PERMISSION_DENIED|[Pp]ermission '\S+' denied"
    r"|does not have permission",
    "a permission is missing",
    "have it granted (`mcloud doctor` lists what is missing)",
)
"""Causes for a missing permission. They are tried last: other refusals use the same words."""

MISSING = Cause(
    r"Error 404|\A404 |NOT_FOUND",
    "a resource of the site does not exist on Google Cloud",
    "run `mcloud deploy`, or correct the names of the site's resources in mcloud.toml",
)
"""Causes for a missing resource of a deployed site. Terraform also says this before a create."""
