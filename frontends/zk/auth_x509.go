package zk

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/triglot/triglot/core"
)

// withCertificate is i and who the certificate says that the client shew when it
// connected, if there was one: its subject, which may be the one that may do everything
// (ZooKeeper 3.9 X509AuthenticationProvider). The certificate has been checked by whoever
// made the handshake.
func (s *Server) withCertificate(i *identities, nc net.Conn) *identities {
	cert := clientCertificate(nc)
	if cert == nil || !s.cfg.Security.X509 {
		return i
	}
	name, ok := subjectName(cert.RawSubject)
	if !ok {
		return i
	}
	shown := i.credentials
	shown.CertificateSubject = cert.Subject.CommonName
	if super := s.cfg.Security.X509Super; super != "" && name == super {
		i = i.with(core.SchemeSuper, name, shown)
	}
	return i.with(schemeX509, name, shown)
}

// clientCertificate is the certificate of a client, nil if it has none.
func clientCertificate(nc net.Conn) *x509.Certificate {
	secure, ok := nc.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	if chain := secure.ConnectionState().PeerCertificates; len(chain) > 0 {
		return chain[0]
	}
	return nil
}

// attribute is one part of a name.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributesSET is one or more attributes that go together.
type attributesSET []attribute

// subjectName prints a name in DER as Java's X500Principal.getName() does: as RFC 2253
// has it, but for what Java 17 does otherwise.
func subjectName(der []byte) (string, bool) {
	var parts []attributesSET
	if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 {
		return "", false
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		for j := range parts[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			parts[i][j].print(&b)
		}
		if i > 0 {
			b.WriteByte(',')
		}
	}
	return b.String(), true
}

// attributeKeywords are the attributes that RFC 2253 has names for.
var attributeKeywords = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

// print writes type=value, the value in hexadecimal if the type has no name or the value
// is no text.
func (a *attribute) print(b *strings.Builder) {
	keyword, named := attributeKeywords[a.Type.String()]
	text, isText := derText(a.Value)
	if !named {
		keyword = a.Type.String()
	}
	b.WriteString(keyword)
	b.WriteByte('=')
	if named && isText {
		b.WriteString(escapeName(text))
		return
	}
	b.WriteByte('#')
	b.WriteString(hex.EncodeToString(a.Value.FullBytes))
}

// derText decodes the kinds of text that Java takes for such: all as if they were UTF-8,
// whatever they are.
func derText(v asn1.RawValue) (string, bool) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String, asn1.TagGeneralString, asn1.TagBMPString:
		return javaUTF8(v.Bytes), true
	}
	return "", false
}

// javaUTF8 decodes UTF-8 as Java does: what begins well and breaks off is one mistake.
func javaUTF8(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			for n < len(b) && !utf8.FullRune(b[:n+1]) {
				n++
			}
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// escapeName puts a backslash before what would mean something, and before blanks at
// either end.
func escapeName(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == 0:
			b.WriteString(`\00`)
			continue
		case strings.ContainsRune(`,=+<>#;"\`, c):
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	escaped := b.String()
	const blanks = " \r"
	inner := strings.TrimLeft(escaped, blanks)
	lead := escaped[:len(escaped)-len(inner)]
	trimmed := strings.TrimRight(inner, blanks)
	return escapeEach(lead) + trimmed + escapeEach(inner[len(trimmed):])
}

func escapeEach(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte('\\')
		b.WriteByte(s[i])
	}
	return b.String()
}
