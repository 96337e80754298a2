package zk

import (
	"context"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	opExists = operation{
		name: "exists", decode: decodeExists, read: readExists,
		watches: watchData, missing: true,
	}
	opGetData      = operation{name: "getData", decode: decodeRead, read: readData, watches: watchData}
	opGetChildren  = operation{name: "getChildren", decode: decodeRead, read: readChildren, watches: watchChild}
	opGetChildren2 = operation{name: "getChildren2", decode: decodeRead, read: readChildren2, watches: watchChild}
	opGetACL       = operation{name: "getACL", decode: decodeGetACL, read: readACL}
)

func decodeRead(_ *conn, q *request, r *jute.Reader) {
	var m wire.ReadRequest
	m.Decode(r)
	q.path, q.watch = m.Path, m.Watch
}

// decodeExists refuses a path with a NUL, which the other reads do not look for
// (ZooKeeper 3.9 FinalRequestProcessor).
func decodeExists(c *conn, q *request, r *jute.Reader) {
	decodeRead(c, q, r)
	if strings.IndexByte(q.path, 0) >= 0 {
		q.refuse(wire.BadArguments)
	}
}

func readExists(_ context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	z, err := v.Znodes().Znode(q.path, 0)
	if err != nil {
		return dst, err
	}
	return appendStat(dst, &z.Stat), nil
}

func readData(_ context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	z, err := v.Znodes().Znode(q.path, 0)
	if err != nil {
		return dst, err
	}
	if z.Null {
		dst = jute.AppendNull(dst)
	} else {
		dst = jute.AppendCount(dst, len(z.Data))
		dst = append(dst, z.Data...)
	}
	return appendStat(dst, &z.Stat), nil
}

func readChildren(ctx context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	dst, _, err := appendChildren(ctx, v, q, dst)
	return dst, err
}

func readChildren2(ctx context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	dst, z, err := appendChildren(ctx, v, q, dst)
	if err != nil {
		return dst, err
	}
	return appendStat(dst, &z.Stat), nil
}

func appendChildren(ctx context.Context, v core.View, q *request, dst []byte) ([]byte, core.Znode, error) {
	names, z, err := v.Znodes().Children(ctx, q.path)
	if err != nil {
		return dst, core.Znode{}, err
	}
	dst = jute.AppendCount(dst, len(names))
	for _, name := range names {
		dst = jute.AppendUstring(dst, name)
	}
	return dst, z, nil
}

func decodeGetACL(_ *conn, q *request, r *jute.Reader) {
	var m wire.GetACLRequest
	m.Decode(r)
	q.path = m.Path
}

// The ACLs that there are.
var acls = map[core.ZnodeACL][]wire.ACL{
	core.ACLOpen:     wire.OpenACLUnsafe,
	core.ACLReadOnly: {{Perms: wire.PermRead, Scheme: "world", ID: "anyone"}},
}

func readACL(_ context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	z, err := v.Znodes().Znode(q.path, 0)
	if err != nil {
		return dst, err
	}
	acl, ok := acls[z.ACL]
	if !ok {
		return dst, core.Errorf(core.Internal, "znode %q has ACL %d", q.path, z.ACL)
	}
	return (&wire.GetACLResponse{ACL: acl, Stat: wireStat(&z.Stat)}).Append(dst), nil
}

func appendStat(dst []byte, s *core.Stat) []byte {
	stat := wireStat(s)
	return stat.Append(dst)
}

func wireStat(s *core.Stat) wire.Stat {
	return wire.Stat{
		Czxid: int64(s.Czxid), Mzxid: int64(s.Mzxid), Pzxid: int64(s.Pzxid),
		Ctime: s.Ctime, Mtime: s.Mtime,
		Version: s.Version, Cversion: s.Cversion, Aversion: s.Aversion,
		EphemeralOwner: int64(s.EphemeralOwner),
		DataLength:     s.DataLength, NumChildren: s.NumChildren,
	}
}
