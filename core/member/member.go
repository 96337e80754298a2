// Package member derives the identities of a cluster and its members, as etcd
// does, so that a cluster described by the same flags has the same ids in both
// (etcd T-100).
//
// It owns no state and does no I/O.
package member

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // an identity that etcd defines by SHA-1, not a signature
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
)

// Peer is a member as --initial-cluster names it.
type Peer struct {
	Name string
	URLs []string
	// Learner says that it is founded without a vote, as the observers of a zoo.cfg are.
	Learner bool
}

// ID is the id of a founding member: the first eight bytes of the SHA-1 of its
// sorted peer URLs and the cluster's token.
func ID(peerURLs []string, token string) core.MemberID {
	sorted := slices.Sorted(slices.Values(peerURLs))
	return core.MemberID(first8([]byte(strings.Join(sorted, "") + token)))
}

// AddedID is the id of a member that is added to a running cluster at a moment: the
// token is no part of it, as in etcd.
func AddedID(peerURLs []string, at time.Time) core.MemberID {
	return ID(peerURLs, strconv.FormatInt(at.Unix(), 10))
}

// ClusterID is the id of the cluster that the members found: the first eight
// bytes of the SHA-1 of their ids in ascending order.
func ClusterID(founders []core.Member) uint64 {
	ids := make([]core.MemberID, len(founders))
	for i := range founders {
		ids[i] = founders[i].ID
	}
	slices.Sort(ids)
	var b []byte
	for _, id := range ids {
		b = binary.BigEndian.AppendUint64(b, uint64(id))
	}
	return first8(b)
}

func first8(b []byte) uint64 {
	sum := sha1.Sum(b) //nolint:gosec // see the import
	return binary.BigEndian.Uint64(sum[:8])
}

// ParsePeers parses an --initial-cluster: comma-separated name=URL pairs, a name
// once for each of its URLs. The order of first mention is kept.
func ParsePeers(s string) ([]Peer, error) {
	var peers []Peer
	for pair := range strings.SplitSeq(s, ",") {
		name, url, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" || url == "" {
			return nil, fmt.Errorf("%q is not of the form name=URL", pair)
		}
		at := slices.IndexFunc(peers, func(p Peer) bool { return p.Name == name })
		if at < 0 {
			peers = append(peers, Peer{Name: name})
			at = len(peers) - 1
		}
		peers[at].URLs = append(peers[at].URLs, url)
	}
	return peers, nil
}

// Found makes the founding members of a cluster from its peers, by id. Two peers
// must not share their names, nor any URL.
func Found(peers []Peer, token string) ([]core.Member, error) {
	if err := distinct(peers); err != nil {
		return nil, err
	}
	members := make([]core.Member, 0, len(peers))
	for _, p := range peers {
		urls := slices.Sorted(slices.Values(p.URLs))
		members = append(members, core.Member{ID: ID(urls, token), PeerURLs: urls, Learner: p.Learner})
	}
	slices.SortFunc(members, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) })
	for i := 1; i < len(members); i++ {
		if members[i].ID == members[i-1].ID { // a URL may be given in parts: a,b and ab
			return nil, fmt.Errorf("two members of the initial cluster have the id %x, which follows from their peer URLs", uint64(members[i].ID))
		}
	}
	return members, nil
}

func distinct(peers []Peer) error {
	names, urls := map[string]bool{}, map[string]bool{}
	for _, p := range peers {
		if names[p.Name] {
			return fmt.Errorf("two members of the initial cluster have the name %q", p.Name)
		}
		names[p.Name] = true
		for _, url := range p.URLs {
			if urls[url] {
				return fmt.Errorf("the initial cluster has the peer URL %s twice", url)
			}
			urls[url] = true
		}
	}
	return nil
}

// Self finds the member of peers that name names, which must have exactly the
// advertised peer URLs.
func Self(peers []Peer, name string, advertised []string) (Peer, error) {
	at := slices.IndexFunc(peers, func(p Peer) bool { return p.Name == name })
	if at < 0 {
		return Peer{}, fmt.Errorf("--initial-cluster does not mention %q, the --name of this member: add %s=URL to it", name, name)
	}
	have, want := slices.Sorted(slices.Values(peers[at].URLs)), slices.Sorted(slices.Values(advertised))
	if !slices.Equal(have, want) {
		return Peer{}, fmt.Errorf("--initial-cluster gives %q the peer URLs %v, --initial-advertise-peer-urls %v: they must be the same", name, have, want)
	}
	return peers[at], nil
}
