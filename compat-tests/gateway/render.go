package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/triglot/triglot/compat-tests/server"
)

// renderer writes answers so that those of two servers can be compared.
type renderer struct {
	target server.Target
	url    string // of the client port
	usual  string // how the header of each answer begins and ends, as a pattern
	// alone has the ids of one of several members, and of their leader, replaced with those
	// that the recordings hold; nil for a lone one.
	alone *strings.Replacer
}

// The ids that follow from the peer URL http://127.0.0.1:2380, as the recordings hold them.
const (
	loneCluster = `"2037210783374497686"`
	loneMember  = `"13195394291058371180"`
)

// learn finds the identity that all headers carry.
func (v *renderer) learn(status string) error {
	var body struct {
		Header struct {
			Cluster string `json:"cluster_id"`
			Member  string `json:"member_id"`
			Term    string `json:"raft_term"`
		}
		Leader string
	}
	if err := json.Unmarshal([]byte(status), &body); err != nil {
		return err
	}
	h := body.Header
	if h.Cluster == "" || h.Member == "" || h.Term == "" {
		return fmt.Errorf("no identity in %s", status)
	}
	if several() {
		quoted := func(id string) string { return `"` + id + `"` }
		v.alone = strings.NewReplacer(quoted(h.Cluster), loneCluster, quoted(h.Member), loneMember, quoted(body.Leader), loneMember)
	}
	v.usual = fmt.Sprintf(`{"cluster_id":"%s","member_id":"%s","revision":"(\d+)","raft_term":"%s"}`, h.Cluster, h.Member, h.Term)
	return nil
}

// head is the first line of an answer.
func (v *renderer) head(a reply) string {
	var s strings.Builder
	fmt.Fprint(&s, a.status)
	for _, name := range []string{"Content-Type", "Location", "Www-Authenticate", "Allow"} {
		if value := a.header.Get(name); value != "" {
			fmt.Fprintf(&s, " %s", value)
		}
	}
	return s.String()
}

// listOfThree is the list of three members, of which listOfOne leaves the one that is asked,
// as a recording of a lone member has it.
var (
	listOfThree = regexp.MustCompile(`"members":\[\{[^}]*\},\{[^}]*\},\{[^}]*\}\]`)
	itself      = regexp.MustCompile(`\{[^{}]*"clientURLs":\["URL"\]\}`)
	ownName     = regexp.MustCompile(`"name":"m\d"`)
	ownPeerURL  = regexp.MustCompile(`"peerURLs":\["[^"]*"\]`)
)

func listOfOne(list string) string {
	one := ownName.ReplaceAllString(itself.FindString(list), `"name":"m1"`)
	return `"members":[` + ownPeerURL.ReplaceAllString(one, `"peerURLs":["http://127.0.0.1:2380"]`) + "]"
}

func several() bool { return os.Getenv("MEMBERS") == "3" }

// line is one line of an answer: JSON without white space, an ordinary header as
// [rev N], the fields to hide as "?".
func (v *renderer) line(text string, hide []string) string {
	text, cut := strings.CutSuffix(text, noNewline)
	// Of its messages for people protobuf makes texts that nobody can rely on.
	text = strings.ReplaceAll(text, "\u00a0", " ")
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(text)) == nil {
		text = compact.String()
	}
	if v.target == server.Triglot {
		text = withoutSuperset(text)
	}
	text = regexp.MustCompile(v.usual).ReplaceAllString(text, "[rev $1]")
	if v.alone != nil {
		text = v.alone.Replace(text)
	}
	for _, field := range hide {
		text = regexp.MustCompile(`"`+field+`":"[^"]*"`).ReplaceAllString(text, `"`+field+`":"?"`)
	}
	text = nearTTL(text)
	text = strings.ReplaceAll(text, v.url, "URL")
	if v.alone != nil {
		text = listOfThree.ReplaceAllStringFunc(text, listOfOne)
	}
	if len(text) > 3000 {
		text = fmt.Sprintf("%s... (%d bytes)", text[:200], len(text))
	}
	if cut {
		text += noNewline
	}
	return text
}

var (
	unaryShape  = regexp.MustCompile(`^{"error":("(?:[^"\\]|\\.)*"),"message":("(?:[^"\\]|\\.)*"),"code":(\d+),"details":\[\]}$`)
	streamShape = regexp.MustCompile(`^{"error":{"code":(\d+),"grpc_code":(\d+),"http_code":(\d+),"http_status":"([\w -]*)","message":("(?:[^"\\]|\\.)*"),"details":\[\]}}$`)
)

// withoutSuperset turns an error of Triglot, which has what clients of any version
// of the gateway look for, into etcd's of today. What is not of that shape is left
// as it is, and then differs from etcd's.
func withoutSuperset(text string) string {
	if m := unaryShape.FindStringSubmatch(text); m != nil && m[1] == m[2] {
		return fmt.Sprintf(`{"code":%s,"message":%s}`, m[3], m[2])
	}
	if m := streamShape.FindStringSubmatch(text); m != nil && m[1] == m[2] && m[4] != "" {
		return fmt.Sprintf(`{"error":{"code":%s,"message":%s}}`, m[1], m[5])
	}
	return text
}

var ttls = regexp.MustCompile(`"TTL":"(\d+)","grantedTTL":"(\d+)"`)

// nearTTL shows what is left of a lease as it was granted, if it is about that.
func nearTTL(text string) string {
	return ttls.ReplaceAllStringFunc(text, func(s string) string {
		m := ttls.FindStringSubmatch(s)
		left, errLeft := strconv.Atoi(m[1])
		granted, errGranted := strconv.Atoi(m[2])
		if errLeft != nil || errGranted != nil || left > granted || left < granted-5 {
			return s
		}
		return fmt.Sprintf(`"TTL":"about %d","grantedTTL":"%d"`, granted, granted)
	})
}
