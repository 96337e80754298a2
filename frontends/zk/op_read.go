package zk

import (
	"context"
	"slices"
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

	opGetAllChildrenNumber = operation{
		name: "getAllChildrenNumber", decode: decodeDescendants, read: readDescendants, sees: seesAll,
	}
	opGetEphemerals = operation{name: "getEphemerals", decode: decodeEphemerals, read: readEphemerals, sees: seesAll}
)

func decodeRead(c *conn, q *request, r *jute.Reader) {
	var m wire.ReadRequest
	m.Decode(r)
	q.path, q.watch = m.Path, m.Watch
	takeFounded(c, q)
}

// takeFounded notes what /zookeeper/config is if nobody has changed it.
func takeFounded(c *conn, q *request) {
	if q.path == configPath && c.srv.cfg.Ensemble.Servers != "" {
		q.body = c.srv.founded()
	}
}

// znodeOf is the znode that a request is about, for one who has any of the permissions. Of
// /zookeeper/config in an ensemble the data's version is -1, always.
func znodeOf(v core.View, q *request, perms core.Perms) (core.Znode, error) {
	z, err := v.Znodes().Znode(q.path, perms)
	if text, ok := q.body.(string); ok && err == nil && len(z.Data) == 0 {
		z.Data, z.Null, z.DataLength, z.Version = []byte(text), false, int32(len(text)), -1
	}
	return z, err
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
	z, err := znodeOf(v, q, core.PermRead)
	if err != nil {
		return dst, err
	}
	return appendStat(dst, &z.Stat), nil
}

func readData(_ context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	z, err := znodeOf(v, q, core.PermRead)
	if err != nil {
		return dst, err
	}
	return appendData(dst, &z), nil
}

// appendData appends a znode's data and its stat.
func appendData(dst []byte, z *core.Znode) []byte {
	if len(z.Data) > flushSize { // which is not to be copied when the stat follows
		dst = slices.Grow(dst, len(z.Data)+statRoom)
	}
	if z.Null {
		dst = jute.AppendNull(dst)
	} else {
		dst = jute.AppendCount(dst, len(z.Data))
		dst = append(dst, z.Data...)
	}
	return appendStat(dst, &z.Stat)
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
	dst = slices.Grow(dst, len(names.Packed())+statRoom)
	return append(jute.AppendCount(dst, names.Len()), names.Packed()...), z, nil
}

// appendNames appends a list of strings, of which there may be very many.
func appendNames(dst []byte, names []string) []byte {
	if len(names) > 100 { // far fewer fit into any buffer
		size := statRoom
		for _, name := range names {
			size += 4 + len(name)
		}
		dst = slices.Grow(dst, size)
	}
	dst = jute.AppendCount(dst, len(names))
	for _, name := range names {
		dst = jute.AppendUstring(dst, name)
	}
	return dst
}

// statRoom is what goes around data or names in a reply, in bytes, and a little more.
const statRoom = 128

func decodeGetACL(c *conn, q *request, r *jute.Reader) {
	var m wire.GetACLRequest
	m.Decode(r)
	q.path = m.Path
	takeFounded(c, q)
}

// readACL shows a list to one who may read or administer the znode; to one who may not
// do the latter, without the passwords of digests (A5).
func readACL(_ context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	znodes := v.Znodes()
	z, err := znodeOf(v, q, core.PermRead|core.PermAdmin)
	if err != nil {
		return dst, err
	}
	entries, err := znodes.ACL(z.ACL)
	if err != nil {
		return dst, err
	}
	if !znodes.Allows(z.ACL, core.PermAdmin) {
		entries = masked(entries)
	}
	return (&wire.GetACLResponse{ACL: wireACL(entries), Stat: wireStat(&z.Stat)}).Append(dst), nil
}

func decodeDescendants(_ *conn, q *request, r *jute.Reader) {
	var m wire.GetAllChildrenNumberRequest
	m.Decode(r)
	q.path = m.Path
}

func readDescendants(ctx context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	n, err := v.Znodes().Descendants(ctx, q.path)
	if err != nil {
		return dst, err
	}
	return jute.AppendInt32(dst, int32(n)), nil
}

func decodeEphemerals(c *conn, q *request, r *jute.Reader) {
	var m wire.GetEphemeralsRequest
	m.Decode(r)
	prefix := m.PrefixPath
	if trimmed := strings.Trim(prefix, javaSpace); trimmed == "/" || trimmed == "" {
		prefix = ""
	}
	q.body = ephemerals{c.session.ID, prefix}
}

// ephemerals are those of a session whose paths begin so, be it in the middle of a name.
type ephemerals struct {
	session core.LeaseID
	prefix  string
}

// javaSpace is what Java's String.trim takes away.
const javaSpace = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "

func readEphemerals(ctx context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	of := q.body.(ephemerals)
	paths, err := v.Znodes().Ephemerals(ctx, of.session, of.prefix)
	if err != nil {
		return dst, err
	}
	return appendNames(dst, paths), nil
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
