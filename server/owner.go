package server

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
)

// A digest replaces a text that a client chose in a map. Its size is constant.
type digest [16]byte

// digestOf returns the digest of several texts in order.
func digestOf(texts ...string) (d digest) {
	hash := sha256.New()
	for _, text := range texts {
		hash.Write(binary.AppendUvarint(nil, uint64(len(text))))
		hash.Write([]byte(text))
	}
	copy(d[:], hash.Sum(nil))
	return d
}

func sumOf(body []byte) digest {
	sum := sha256.Sum256(body)
	return digest(sum[:len(digest{})])
}

// owner identifies to whom a request is charged: the subject of the grant or, without one, the address of the client.
// It is zero if neither is known, as on a Unix socket.
func (h *Handler) owner(r *http.Request, grant Grant) digest {
	if grant.Subject != "" {
		return digestOf("subject", grant.Subject)
	}
	network := ClientNetwork(ClientIP(r, h.TrustedProxies))
	if !network.IsValid() {
		return digest{}
	}
	return digestOf("network", network.String())
}
