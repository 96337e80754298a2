package sasl

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// realm is the only one there is, and the host of the service; clients put it in
	// what they hash (ZooKeeper 3.9 ZooKeeperSaslServer).
	realm = "zk-sasl-md5"
	// uri is what an answer must be for, in whatever case.
	uri = "zookeeper/" + realm
	// once is the count of answers to a nonce: it is good for one.
	once = "00000001"
	// maxAnswer is the length of the longest answer in bytes (RFC 2831, 2.1.2).
	maxAnswer = 4096
	nonceSize = 30 // before base64: Java's are as long
)

// Why an answer is refused. Clients hear of none of it, operators in the log.
var (
	errFormat   = errors.New("the answer is malformed")
	errTooLong  = errors.New("the answer is longer than 4096 bytes")
	errOver     = errors.New("the exchange is over: it needs another connection")
	errMissing  = errors.New("the answer lacks one of username, nonce, cnonce, digest-uri and response")
	errNonce    = errors.New("the answer is to another challenge")
	errRealm    = errors.New("the answer is for another realm")
	errURI      = errors.New("the answer is for another service")
	errQOP      = errors.New("the answer asks for more than authentication")
	errCharset  = errors.New("the answer is in another character set than utf-8")
	errPassword = errors.New("the user is unknown or the password is wrong")
)

type step uint8

const (
	challenge step = iota // the first token is to come, whatever it says
	answer                // the client's answer is to come
	over                  // nothing more is taken
)

// Exchange is one authentication of one client. Make it with New. It belongs to one
// goroutine.
type Exchange struct {
	password func(user string) (string, bool)
	next     step
	nonce    string
	user     string
}

// New starts an exchange. password returns the password of a user, and false for who
// is none.
func New(password func(user string) (string, bool)) *Exchange {
	return &Exchange{password: password}
}

// Step takes a token of the client's and returns the server's: the challenge for the
// first one, and for the second one the proof with which the client may check the
// server. An error says that the client has not proven anything; from then on every
// Step fails.
func (x *Exchange) Step(token []byte) ([]byte, error) {
	now := x.next
	x.next = over
	switch {
	case len(token) > maxAnswer:
		return nil, errTooLong
	case now == challenge:
		var random [nonceSize]byte
		rand.Read(random[:]) // never fails
		x.nonce = base64.StdEncoding.EncodeToString(random[:])
		x.next = answer
		return []byte(`realm="` + realm + `",nonce="` + x.nonce + `",charset=utf-8,algorithm=md5-sess`), nil
	case now == answer:
		return x.verify(token)
	}
	return nil, errOver
}

// User is who the client has proven to be; empty unless the exchange has succeeded.
func (x *Exchange) User() string { return x.user }

// verify checks the answer. (RFC 2831, 2.1.2.1; what Java's server does not look at,
// such as the count of answers, is not looked at.)
func (x *Exchange) verify(token []byte) ([]byte, error) {
	d, err := parseDirectives(token)
	if err != nil {
		return nil, err
	}
	if err := x.check(d); err != nil {
		return nil, err
	}
	user := string(d["username"])
	password, ok := "", false
	if utf8.ValidString(user) {
		password, ok = x.password(user)
	}
	// An unknown user costs as much time as a wrong password.
	secret := x.secret(d, user, password)
	want := respond(secret, x.nonce, d, "AUTHENTICATE:")
	if subtle.ConstantTimeCompare([]byte(want), d["response"]) != 1 || !ok {
		return nil, errPassword
	}
	x.user = user
	return []byte("rspauth=" + respond(secret, x.nonce, d, ":")), nil
}

// check looks at everything but the password.
func (x *Exchange) check(d directives) error {
	for _, name := range []string{"username", "nonce", "cnonce", "digest-uri", "response"} {
		if _, ok := d[name]; !ok {
			return errMissing
		}
	}
	if charset, ok := d["charset"]; ok && string(charset) != "utf-8" {
		return errCharset
	}
	if size, ok := d["maxbuf"]; ok {
		if _, err := strconv.ParseInt(string(size), 10, 32); err != nil {
			return errFormat
		}
	}
	qop, ok := d["qop"]
	switch {
	case string(d["realm"]) != realm:
		return errRealm
	case string(d["nonce"]) != x.nonce:
		return errNonce
	case ok && string(qop) != "auth":
		return errQOP
	case !strings.EqualFold(string(d["digest-uri"]), uri):
		return errURI
	case len(d["username"]) == 0:
		return errPassword
	}
	return nil
}

// secret is H(A1) of RFC 2831, in hexadecimal. An authzid is part of what is hashed, and
// means nothing beyond that: as in ZooKeeper, who a client is is who it has proven to be.
func (x *Exchange) secret(d directives, user, password string) string {
	inner := md5.Sum([]byte(latin1(user) + ":" + realm + ":" + latin1(password)))
	a1 := string(inner[:]) + ":" + x.nonce + ":" + string(d["cnonce"])
	if authzid, ok := d["authzid"]; ok {
		a1 += ":" + string(authzid)
	}
	return hash(a1)
}

// respond is the value of response, or of rspauth.
func respond(secret, nonce string, d directives, method string) string {
	return hash(secret + ":" + nonce + ":" + once + ":" + string(d["cnonce"]) + ":auth:" + hash(method+string(d["digest-uri"])))
}

func hash(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// latin1 is s in ISO 8859-1 if it can be, and else as it is (RFC 2831, 2.1.2.1).
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return s
		}
		b = append(b, byte(r))
	}
	return string(b)
}
