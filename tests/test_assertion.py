"""Assertions and the keys that sign them, verified by code that is not ours."""

import base64
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from certificates import client_certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from fakes import START, FakeClock
from joserfc import jws
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import import_key

from job.core.errors import SecretUnavailable
from job.core.secret import Secret
from job.oauth.assertion import BACKDATED_S, AssertionRules, ForeignAssertion, SignedAssertion
from job.oauth.keys import SigningKey, mac_key, private_key

# joserfc warns of every algorithm that RFC 9864 renames; servers know the old names.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")

URL = "https://as.test/token"
RULES = AssertionRules("my-client", URL)
LONG = "a secret that is long enough for every hash, for it has 64 bytes.."
RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (
    ec.generate_private_key(c) for c in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
)
KEYS: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": P256,
    "ES384": P384,
    "ES512": P521,
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
ALL = [*KEYS, "HS256", "HS384", "HS512"]


def pem(key: Any, password: bytes | None = None) -> str:  # noqa: ANN401  # keys of many types
    """Write a private key as openssl does."""
    lock = serialization.BestAvailableEncryption(password) if password else None
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        lock or serialization.NoEncryption(),
    ).decode()


def jwk(key: Any, **members: object) -> str:  # noqa: ANN401  # as above
    """Write a private key as a JWK, by joserfc."""
    return json.dumps(import_key(pem(key), kind_of(key)).as_dict(private=True) | members)


def kind_of(key: Any) -> str:  # noqa: ANN401  # as above
    """Return what RFC 7518 calls the type of a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "RSA"
    return "EC" if isinstance(key, ec.EllipticCurvePrivateKey) else "OKP"


def signing_key(algorithm: str) -> SigningKey:
    """Make a key for an algorithm as the settings do."""
    if algorithm.startswith("HS"):
        return mac_key(Secret(LONG), algorithm)
    return private_key(Secret(pem(KEYS[algorithm])), algorithm, "key-1")


def signed(key: SigningKey, rules: AssertionRules = RULES, **options: Any) -> str:  # noqa: ANN401  # passed on
    """Make one assertion."""
    return SignedAssertion(rules, lambda: key, FakeClock(), **options)().reveal()


def parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims, unverified."""
    header, claims, _ = assertion.split(".")
    decoded = (base64.urlsafe_b64decode(part + "==") for part in (header, claims))
    first, second = map(json.loads, decoded)
    return first, second


def verified(assertion: str, algorithm: str) -> dict[str, Any]:
    """Return the claims, once joserfc has verified the signature with the public half."""
    if algorithm.startswith("HS"):
        key = import_key(LONG, "oct")
    else:
        public = (
            KEYS[algorithm]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        key = import_key(public, kind_of(KEYS[algorithm]))
    registry = jws.JWSRegistry(algorithms=[algorithm])
    return dict(joserfc_jwt.decode(assertion, key, registry=registry).claims)


def refusal(act: Callable[[], object]) -> tuple[str, str]:
    """Return the code and the message with which something can't be used."""
    with pytest.raises(SecretUnavailable) as caught:
        act()
    assert caught.value.__cause__ is None
    return caught.value.code, caught.value.message


# What an assertion says


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.slow
def test_an_assertion_is_what_the_rfc_wants(algorithm: str) -> None:
    """Header and claims are those of RFC 7523 section 3, and another's code verifies each one."""
    assertion = signed(signing_key(algorithm), jti=lambda: "unique")
    issued = START - BACKDATED_S
    assert verified(assertion, algorithm) == {
        "iss": "my-client",
        "sub": "my-client",
        "aud": URL,
        "jti": "unique",
        "iat": issued,
        "nbf": issued,
        "exp": issued + 60,
    }
    names = {} if algorithm.startswith("HS") else {"kid": "key-1"}
    assert parts(assertion)[0] == {"alg": algorithm, "typ": "JWT", **names}


def test_each_assertion_is_new_and_cannot_be_guessed() -> None:
    """The jti has 192 random bits and never repeats: a server takes each assertion once."""
    make = SignedAssertion(RULES, lambda: signing_key("HS256"), FakeClock())
    found = [parts(make().reveal())[1]["jti"] for _ in range(50)]
    assert len(set(found)) == 50
    assert all(re.fullmatch(r"[\w-]{32}", jti) for jti in found)


def test_a_clock_that_is_a_little_ahead_makes_no_assertion_of_the_future() -> None:
    """With our clock 5 s ahead of the server's, iat and nbf have come; exp keeps the lifetime."""
    claims = parts(signed(signing_key("ES256"), AssertionRules("c", URL, lifetime_s=300)))[1]
    assert claims["iat"] == claims["nbf"] == START - 5
    assert claims["exp"] - claims["iat"] == 300


@pytest.mark.parametrize(
    ("typ", "expected"),
    [
        ("JWT", {"typ": "JWT"}),
        ("client-authentication+jwt", {"typ": "client-authentication+jwt"}),
        ("", {}),
    ],
)
def test_the_typ_is_as_told(typ: str, expected: dict[str, str]) -> None:
    """The `typ` of RFC 10070, the one of old, or none at all."""
    header = parts(signed(signing_key("ES256"), AssertionRules("c", URL, typ)))[0]
    assert header == {"alg": "ES256", "kid": "key-1", **expected}


def test_claims_are_added_replaced_and_left_out() -> None:
    """What a provider wants beside the RFC is data: a scope, another subject, no audience."""
    rules = AssertionRules("app", URL, claims={"sub": "user", "scope": "a b", "aud": "", "nbf": ""})
    claims = parts(signed(signing_key("ES256"), rules, jti=lambda: "j"))[1]
    issued = START - BACKDATED_S
    assert claims == {
        "iss": "app",
        "sub": "user",
        "jti": "j",
        "iat": issued,
        "exp": issued + 60,
        "scope": "a b",
    }


def test_the_key_is_asked_for_each_time() -> None:
    """A key that was rotated between two requests signs the second."""
    keys = iter(
        [private_key(Secret(pem(P256)), None, "old"), private_key(Secret(pem(RSA)), None, "new")]
    )
    make = SignedAssertion(RULES, lambda: next(keys), FakeClock())
    headers = [parts(make().reveal())[0] for _ in "12"]
    assert [(h["kid"], h["alg"]) for h in headers] == [("old", "ES256"), ("new", "RS256")]


# What others make of the same


TIMES = ("iat", "nbf", "exp", "jti")
"""Clocks and chance: the others take them from the process."""
BY_KEY = ["RS256", "PS256", "ES256", "EdDSA"]


def lasting(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header, and the claims that neither clock nor chance makes."""
    header, claims = parts(assertion)
    return header, {name: value for name, value in claims.items() if name not in TIMES}


@pytest.mark.parametrize("algorithm", [*BY_KEY, "HS384"])
@pytest.mark.slow
def test_ours_is_what_authlib_makes(algorithm: str) -> None:
    """The header and the claims are those of authlib, but for its hour of life.

    There it is wrong by our facts: some servers take no assertion that lives so long.
    """
    from authlib.oauth2 import rfc7523  # noqa: PLC0415  # 60 ms

    if algorithm.startswith("HS"):
        method, key, headers = rfc7523.ClientSecretJWT, LONG, None
    else:
        method, headers = rfc7523.PrivateKeyJWT, {"kid": "key-1"}
        key = import_key(pem(KEYS[algorithm]), kind_of(KEYS[algorithm]))
    client = SimpleNamespace(client_id="my-client", client_secret=key)
    theirs = method(URL, alg=algorithm, headers=headers).sign(client, URL)
    ours = signed(signing_key(algorithm))
    assert lasting(ours) == lasting(theirs)
    spans = [claims["exp"] - claims["iat"] for _, claims in (parts(ours), parts(theirs))]
    assert spans == [60, 3600]


@pytest.mark.parametrize("algorithm", [*BY_KEY, "HS256"])
@pytest.mark.slow
def test_ours_is_what_requests_oauth2client_makes(algorithm: str) -> None:
    """The claims are those of requests_oauth2client, and the header too, but for `typ`.

    It sends none: there it is wrong by our facts, for OpenIddict and PingFederate want one.
    """
    from requests_oauth2client import ClientSecretJwt, PrivateKeyJwt  # noqa: PLC0415  # 200 ms

    if algorithm.startswith("HS"):
        method = ClientSecretJwt("my-client", LONG, alg=algorithm)
    else:
        key = json.loads(jwk(KEYS[algorithm], kid="key-1", alg=algorithm))
        method = PrivateKeyJwt("my-client", key, alg=algorithm)
    theirs, ours = lasting(method.client_assertion(URL)), lasting(signed(signing_key(algorithm)))
    assert ours[1] == theirs[1]
    assert ours[0] == {**theirs[0], "typ": "JWT"}


# Keys


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "EdDSA"])
@pytest.mark.parametrize("form", ["pem", "jwk", "google", "one line"])
@pytest.mark.slow
def test_a_key_in_any_form_signs(algorithm: str, form: str) -> None:
    r"""PEM, a JWK, Google's JSON file, and PEM in one line with \\n in it all give the same key."""
    key = KEYS[algorithm]
    text = {
        "pem": pem(key),
        "jwk": jwk(key, kid="theirs"),
        "google": json.dumps({"private_key": pem(key), "private_key_id": "theirs"}),
        "one line": pem(key).replace("\n", "\\n"),
    }[form]
    found = private_key(Secret(text), algorithm, None)
    assert found.names == ({"kid": "theirs"} if form in ("jwk", "google") else {})
    assert verified(signed(found), algorithm)["iss"] == "my-client"
    assert private_key(Secret(text), algorithm, "ours").names == {"kid": "ours"}


def test_old_pem_is_read() -> None:
    """GitHub and old openssl write keys as PKCS #1 and SEC 1."""
    for key, kind in ((RSA, "RSA"), (P256, "EC")):
        old = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()
        assert f"BEGIN {kind} PRIVATE KEY" in old
        assert private_key(Secret(old), None, None).key.public_key() == key.public_key()  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        *((RSA, "RS256"), (P256, "ES256"), (P384, "ES384"), (P521, "ES512")),
        *((KEYS["EdDSA"], "EdDSA"), (ed448.Ed448PrivateKey.generate(), "EdDSA")),
    ],
)
def test_the_key_says_how_it_signs(key: object, expected: str) -> None:
    """Without signing_alg the usual algorithm of the key is taken."""
    found = private_key(Secret(pem(key)), None, None)
    assert found.algorithm == expected
    assert parts(signed(found))[0]["alg"] == expected


def test_a_jwk_says_how_it_signs() -> None:
    """The `alg` of a JWK counts, unless signing_alg is set."""
    text = Secret(jwk(RSA, alg="PS384"))
    assert private_key(text, None, None).algorithm == "PS384"
    assert private_key(text, "RS512", None).algorithm == "RS512"


NOT_PEM = (
    "private_key is not a readable private key in PEM, which begins with -----BEGIN PRIVATE KEY "
    "(a certificate or public key is not enough)"
)


def public_pem(key: Any) -> str:  # noqa: ANN401  # as above
    """Write the public half alone."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.mark.parametrize(
    ("text", "algorithm", "message"),
    [
        ("hunter2", None, NOT_PEM),
        (public_pem(RSA), None, NOT_PEM),
        (pem(RSA)[:300], None, NOT_PEM),
        (
            pem(RSA, b"password"),
            None,
            (
                "private_key is encrypted; decrypt it with `openssl pkey -in OLD -out NEW` and "
                "guard the file"
            ),
        ),
        (
            "{not json",
            None,
            "private_key looks like JSON but cannot be parsed; give one JWK, or PEM",
        ),
        ('{"private_key": 1}', None, NOT_PEM),
        (
            json.dumps(import_key(public_pem(RSA), "RSA").as_dict()),
            None,
            'private_key is a JWK without a private part; give the one that has a member "d"',
        ),
        (
            '{"kty": "oct", "k": "c2VjcmV0", "d": "x"}',
            None,
            'private_key is a JWK without a private part; give the one that has a member "d"',
        ),
        (
            '{"kty": "RSA", "n": "x", "d": "hunter2"}',
            None,
            "private_key is a JWK that can't be read; create it again",
        ),
        (
            '{"kty": "EC", "crv": "P-1", "x": "AA", "y": "AA", "d": "AA"}',
            None,
            "private_key is a JWK that can't be read; create it again",
        ),
        (
            '{"kty": "RSA", "d": 1}',
            None,
            "private_key is a JWK that can't be read; create it again",
        ),
        (
            pem(P256),
            "ES384",
            "private_key can't sign as signing_alg or its JWK says; it signs ES256",
        ),
        (
            jwk(P256, alg="ES256K"),
            None,
            "private_key can't sign as signing_alg or its JWK says; it signs ES256",
        ),
        (
            jwk(P256, alg=["x"]),
            None,
            "private_key can't sign as signing_alg or its JWK says; it signs ES256",
        ),
        (
            pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505  # to be refused
            None,
            "private_key is an RSA key of under 2048 bits; make a longer one",
        ),
        (
            pem(ec.generate_private_key(ec.SECP256K1())),
            None,
            "private_key is of a kind that signs no assertions; make one of RSA, P-256 or Ed25519",
        ),
        (
            pem(dsa.generate_private_key(1024)),  # noqa: S505  # to be refused
            None,
            "private_key is of a kind that signs no assertions; make one of RSA, P-256 or Ed25519",
        ),
    ],
)
@pytest.mark.fault("client-key-unusable")
def test_a_key_that_cannot_sign_is_told(text: str, algorithm: str | None, message: str) -> None:
    """What is wrong with a key, and what to do, in our words: theirs may quote it."""
    found = refusal(lambda: private_key(Secret(text), algorithm, None))
    assert found == ("private_key_unusable", message)


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_short_secret_signs_nothing(algorithm: str, least: int) -> None:
    """RFC 7518 section 3.2: a secret shorter than the hash is refused, and nothing of it told."""
    assert mac_key(Secret("x" * least), algorithm).algorithm == algorithm
    code, message = refusal(lambda: mac_key(Secret("x" * (least - 1)), algorithm))
    assert code == "client_secret_too_short"
    assert message == (
        f"the client secret is too short to sign with {algorithm}, which takes {least} bytes or "
        "more (RFC 7518 section 3.2); have the provider make a longer one, or use another "
        "auth_method"
    )


def test_a_secret_signs_by_hs256_unless_told() -> None:
    """The length counts in bytes of UTF-8, as OpenID Connect Core section 10.1 has it."""
    assert mac_key(Secret("é" * 16), None).algorithm == "HS256"


def test_a_certificate_names_its_key() -> None:
    """`x5t#S256` is the thumbprint as RFC 7515 section 4.1.8 defines it."""
    certificate, key = client_certificate("client")
    found = private_key(Secret(key.decode()), None, None, certificate)
    digest = x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256())
    assert found.names == {"x5t#S256": base64.urlsafe_b64encode(digest).decode().rstrip("=")}
    assert parts(signed(found))[0]["x5t#S256"] == found.names["x5t#S256"]


@pytest.mark.parametrize(
    ("certificate", "message"),
    [
        (
            b"hunter2",
            (
                "certificate_file is not a readable certificate in PEM, which begins with "
                "-----BEGIN CERTIFICATE"
            ),
        ),
        (
            client_certificate("another")[0],
            (
                "certificate_file is not the certificate of private_key; give the one made for it, "
                "or leave certificate_file out"
            ),
        ),
    ],
)
def test_a_certificate_of_another_key_is_told(certificate: bytes, message: str) -> None:
    """A thumbprint that fits no key would only be refused by the server, without a reason."""
    found = refusal(lambda: private_key(Secret(pem(P256)), None, None, certificate))
    assert found == ("certificate_unusable", message)


def test_no_key_is_seen() -> None:
    """Neither the key object nor the maker of assertions shows a key when it is printed."""
    key = private_key(Secret(pem(P256)), None, "k")
    assert repr(key) == "SigningKey(algorithm='ES256', names={'kid': 'k'})"
    assert LONG not in repr(mac_key(Secret(LONG), None))


# Assertions that others make


def foreign(text: str) -> str:
    """Take an assertion from a source that gives this text."""
    return ForeignAssertion(lambda: Secret(text), FakeClock())().reveal()


def made_elsewhere(**claims: object) -> str:
    """Make what a platform would project: other issuer, other claims."""
    key = import_key(pem(P256), "EC")
    return joserfc_jwt.encode({"alg": "ES256"}, {"iss": "https://k8s.test", **claims}, key)


@pytest.mark.parametrize("claims", [{}, {"exp": START + 1}, {"exp": START + 0.5}, {"exp": "soon"}])
def test_an_assertion_of_others_is_passed_on(claims: dict[str, object]) -> None:
    """It is sent as it is, without the white space around it; what it claims is the server's."""
    text = made_elsewhere(**claims)
    assert foreign(f" {text}\n") == text


def test_an_assertion_of_others_is_read_each_time() -> None:
    """A projected token that was renewed is the next one sent: nothing is kept."""
    texts = [made_elsewhere(n=n) for n in (1, 2)]
    source = iter(map(Secret, texts))
    take = ForeignAssertion(lambda: next(source), FakeClock())
    assert [take().reveal(), take().reveal()] == texts


@pytest.mark.fault("platform-token-expired")
def test_an_assertion_that_has_expired_is_told() -> None:
    """A token that nobody renews is found before the server refuses it."""
    assert refusal(lambda: foreign(made_elsewhere(exp=START - 3700))) == (
        "client_assertion_expired",
        (
            "the assertion expired 1h 1m ago; see why its source gives no newer one, and check "
            "this machine's clock"
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        *("hunter2", "a.b", "a.b.c.d.e", "..", "e30.e30.", "e30..c2ln", ".e30.c2ln", "W10.e30.x"),
        *("e30.W10.x", "e30.!!!!.x", "<html>a.b.c</html>", "e30.bm90IGpzb24.x", "e30.e.x"),
    ],
)
@pytest.mark.fault("platform-token-expired")
def test_what_is_no_jwt_is_never_sent(text: str) -> None:
    """A page, a password or a path in the wrong place goes to no server and into no message."""
    assert refusal(lambda: foreign(text)) == (
        "client_assertion_unusable",
        (
            "what client_assertion gives is not a signed JWT (three parts of base64url, joined "
            "by points); check its source"
        ),
    )
