"""The keys of a sink: where and in which layout readers find a token."""

from typing import Annotated, Literal

from msgspec import Meta

from job.values import EndpointUrl, FilePath, Profile, Region, Table, default

Format = Literal["json", "raw", "header", "env", "template"]


class FileSinkSettings(Table, frozen=True, kw_only=True, tag="file", tag_field="type"):
    """A local file, replaced atomically."""

    path: Annotated[FilePath, Meta(description="The file. Its folder must exist.")]
    format: Annotated[Format, Meta(description="The layout of the file.")] = "json"
    template: (
        Annotated[
            str,
            Meta(
                description="For format template: text with {access_token}, {token_type}, "
                "{expires_at}, {obtained_at}, {scope}, {name}."
            ),
        ]
        | None
    ) = None
    mode: Annotated[str, Meta(description="The permission bits, in octal.")] = "0600"
    owner: Annotated[str, Meta(description="The owning user, by name or number.")] | None = None
    group: Annotated[str, Meta(description="The owning group, by name or number.")] | None = None
    overwrite: Annotated[
        bool, Meta(description="Replace a file that freshtoken has not written.")
    ] = False


class SecretsManagerSinkSettings(
    Table, frozen=True, kw_only=True, tag="aws_secrets_manager", tag_field="type"
):
    """A secret in AWS Secrets Manager. Credentials come from boto3's own chain."""

    secret_id: Annotated[str, Meta(description="The secret's name or ARN.")]
    format: Annotated[Format, Meta(description="The layout of the secret's text.")] = "json"
    template: Annotated[str, Meta(description="For format template: as for a file.")] | None = None
    region: Region = None
    profile: Profile = None
    endpoint_url: EndpointUrl = None
    json_key: (
        Annotated[
            str,
            Meta(description="Keep the token under this key of a JSON secret, others untouched."),
        ]
        | None
    ) = None
    create: Annotated[bool, Meta(description="Create the secret if it is missing.")] = False
    kms_key_id: (
        Annotated[str, Meta(description="The KMS key of a secret that is created.")] | None
    ) = None
    tags: Annotated[dict[str, str], Meta(description="The tags of a secret that is created.")] = (
        default({})
    )
    compare_and_swap: Annotated[
        bool,
        Meta(
            description="Never overwrite a newer token of another writer. false: one plain put, "
            "for a principal that may do nothing else."
        ),
    ] = True
    overwrite: Annotated[
        bool, Meta(description="Replace a value that freshtoken has not written.")
    ] = False


SinkSettings = FileSinkSettings | SecretsManagerSinkSettings
