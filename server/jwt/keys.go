package jwt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// Minimum sizes of keys: RFC 7518, sections 3.2 and 3.3.
const (
	minSecretBytes = 32
	minRSABits     = 2048
)

// ErrNoKeys is wrapped by errors of keys that cannot be used, and of files and JWK sets without usable keys.
var ErrNoKeys = errors.New("jwt: no usable keys")

// ErrWithdrawn is returned by [Keys.Reload] for a readable JWK set that has no usable keys. It wraps [ErrNoKeys].
var ErrWithdrawn = fmt.Errorf("%w in the JWK set: all tokens are rejected until it has some", ErrNoKeys)

// errNoMembers is for JSON that is not a JWK set, such as an error message. RFC 7517, section 5.1, requires "keys".
var errNoMembers = fmt.Errorf("%w: JSON has no \"keys\" array", ErrNoKeys)

// Keys verify signatures. Each key is used for one algorithm only: HS256 for a secret, and RS256, ES256 or EdDSA for a
// public key of the type RSA, P-256 or Ed25519. So a token cannot choose how it is verified. Create Keys with one of
// the functions of this package. They are safe for concurrent use.
type Keys struct {
	load    func(context.Context) ([]key, error)
	current atomic.Pointer[[]key]
	remote  *remote // nil unless the keys are from a URL
}

type key struct {
	id        string // empty matches any key id
	algorithm string
	material  any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// SecretKeys returns the key for a secret that issuers share with this server. The secret must be random and have at
// least 32 bytes. To change a secret without rejecting existing tokens, use [ParseKeys] or [LoadKeys] with a JWK set
// that contains both.
func SecretKeys(secret []byte) (*Keys, error) {
	secret = bytes.Clone(secret)
	return load(context.Background(), func(context.Context) ([]key, error) { return fromSecret(secret) })
}

// LoadSecret is like [SecretKeys] with the content of a file, without line ends at its end. [Keys.Reload] reads the
// file again.
func LoadSecret(path string) (*Keys, error) {
	return load(context.Background(), func(context.Context) ([]key, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return fromSecret(bytes.TrimRight(text, "\r\n"))
	})
}

// ParseKeys returns the keys of a JWK set (RFC 7517), or of PEM blocks with public keys or certificates. It ignores the
// validity period of certificates, and members of a set that it cannot use.
func ParseKeys(text []byte) (*Keys, error) {
	text = bytes.Clone(text)
	return load(context.Background(), func(context.Context) ([]key, error) { return parse(text, true) })
}

// LoadKeys is like [ParseKeys] with the content of a file. [Keys.Reload] reads the file again.
func LoadKeys(path string) (*Keys, error) {
	return load(context.Background(), func(context.Context) ([]key, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return parse(text, true)
	})
}

func load(ctx context.Context, from func(context.Context) ([]key, error)) (*Keys, error) {
	k := &Keys{load: from}
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Reload loads the keys again from their file or URL. If it fails, the old keys remain valid, except with
// [ErrWithdrawn]: a JWK set without usable keys, such as {"keys":[]}, revokes all keys until a later Reload finds some.
func (k *Keys) Reload(ctx context.Context) error {
	keys, err := k.load(ctx)
	if err == nil || errors.Is(err, ErrWithdrawn) && k.current.Load() != nil {
		k.current.Store(&keys)
	}
	if err != nil {
		return fmt.Errorf("jwt: loading keys: %w", err)
	}
	return nil
}

func (k *Keys) withdrawn() bool { return len(*k.current.Load()) == 0 }

// candidates returns the keys for this algorithm and key id, which may be empty.
func (k *Keys) candidates(algorithm, id string) (found []jwt.VerificationKey) {
	for _, key := range *k.current.Load() {
		if key.algorithm == algorithm && (key.id == id || key.id == "" || id == "") {
			found = append(found, key.material)
		}
	}
	return found
}

func fromSecret(secret []byte) ([]key, error) {
	algorithm, err := algorithmOf(secret)
	if err != nil {
		return nil, err
	}
	return []key{{algorithm: algorithm, material: secret}}, nil
}

// parse uses secrets in a JWK set only if secrets is true: a published one is not secret.
func parse(text []byte, secrets bool) ([]key, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return fromSet(text, secrets)
	}
	return fromPEM(text)
}

func fromPEM(text []byte) (keys []key, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		material, err := fromBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		algorithm, err := algorithmOf(material)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key{algorithm: algorithm, material: material})
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: neither a JWK set nor PEM", ErrNoKeys)
	}
	return keys, nil
}

func fromBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return nil, fmt.Errorf("%w: must be a public key or a certificate", ErrNoKeys)
}

// RFC 7517, section 5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" (key type) values that are
// not understood by them, that are missing required members, or for which values are out of the supported ranges."
func fromSet(text []byte, secrets bool) (keys []key, err error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("JWK set: %w", err)
	}
	if set.Keys == nil {
		return nil, errNoMembers
	}
	var unusable []error
	for i, member := range set.Keys {
		key, err := fromMember(member, secrets)
		if err != nil {
			unusable = append(unusable, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, key)
	}
	switch {
	case len(set.Keys) == 0:
		return nil, ErrWithdrawn
	case len(keys) == 0:
		return nil, fmt.Errorf("%w: %w", ErrWithdrawn, errors.Join(unusable...))
	}
	return keys, nil
}

func fromMember(member jwkset.JWKMarshal, secrets bool) (key, error) {
	private := jwkset.JWKMarshalOptions{Private: secrets && member.KTY == jwkset.KtyOct}
	jwk, err := jwkset.NewJWKFromMarshal(member, private, jwkset.JWKValidateOptions{})
	if err != nil {
		return key{}, err
	}
	algorithm, err := algorithmOf(jwk.Key())
	switch {
	case err != nil:
		return key{}, err
	case member.ALG != "" && string(member.ALG) != algorithm:
		return key{}, fmt.Errorf("is for the algorithm %s", member.ALG)
	case member.USE != "" && member.USE != jwkset.UseSig:
		return key{}, fmt.Errorf("has use %q, not \"sig\"", member.USE)
	case len(member.KEYOPS) > 0 && !slices.Contains(member.KEYOPS, jwkset.KeyOpsVerify):
		return key{}, fmt.Errorf("has key_ops %v, without \"verify\"", member.KEYOPS)
	}
	return key{member.KID, algorithm, jwk.Key()}, nil
}

// algorithmOf returns the only algorithm that a key is used for.
func algorithmOf(material any) (string, error) {
	switch k := material.(type) {
	case []byte:
		if len(k) < minSecretBytes {
			return "", fmt.Errorf("%w: secret has %d bytes, must have at least %d", ErrNoKeys, len(k), minSecretBytes)
		}
		return "HS256", nil
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return "", fmt.Errorf("%w: RSA key has %d bits, must have at least %d", ErrNoKeys, k.N.BitLen(), minRSABits)
		}
		return "RS256", nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", fmt.Errorf("%w: EC key is on the curve %s, must be on P-256", ErrNoKeys, k.Params().Name)
		}
		return "ES256", nil
	case ed25519.PublicKey:
		return "EdDSA", nil
	}
	return "", fmt.Errorf("%w: unsupported key type %T", ErrNoKeys, material)
}
