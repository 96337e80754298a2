package oracle

import (
	"context"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// stranger is the name of one whose token no server has given.
const stranger = "stranger"

// callers are those on whose behalf a side makes its calls.
type callers struct {
	// now makes the next calls; nobody if empty.
	now string
	// tokens are what the server gave, by user; a user without one shows none.
	tokens map[string]string
}

// learn takes the token out of a reply: it is drawn at random.
func (c *callers) learn(request, response proto.Message) {
	who, ok := request.(*pb.AuthenticateRequest)
	given, isToken := response.(*pb.AuthenticateResponse)
	if !ok || !isToken {
		return
	}
	if c.tokens == nil {
		c.tokens = make(map[string]string)
	}
	c.tokens[who.Name] = given.Token
	if given.Token != "" {
		given.Token = "(token)"
	}
}

// metadata shows who calls.
func (c *callers) metadata() metadata.MD {
	switch token := c.tokens[c.now]; {
	case c.now == stranger:
		return metadata.Pairs("token", "aaaaaaaaaaaaaaaa.1")
	case token != "":
		return metadata.Pairs("token", token)
	}
	return nil
}

// calling is the context of a call.
func (s *side) calling(ctx context.Context) context.Context {
	if md := s.callers.metadata(); md != nil {
		return metadata.NewOutgoingContext(ctx, md)
	}
	return ctx
}

// as has f make its calls on behalf of a user.
func (p *pair) as(user string, f func() outcome) outcome {
	p.etcd.callers.now, p.ours.callers.now = user, user
	defer func() { p.etcd.callers.now, p.ours.callers.now = "", "" }()
	return f()
}

// invalidToken is etcd's error for a token that is not good any more.
const invalidToken = "etcdserver: invalid auth token"

// forgetToken has those who call now show no token until they get another.
func (p *pair) forgetToken() {
	for _, s := range []*side{p.etcd, p.ours} {
		delete(s.callers.tokens, s.callers.now)
	}
}

// rangeStream makes the call and returns the messages as one: where they were cut
// is told by a test of its own, as it depends on sizes alone.
func (s *side) rangeStream(request *pb.RangeRequest) reply {
	ctx, cancel := context.WithTimeout(s.calling(s.ctx), patience)
	defer cancel()
	stream, err := pb.NewKVClient(s.conn).RangeStream(ctx, request)
	if err != nil {
		return reply{err: status.Convert(err)}
	}
	all := new(pb.RangeResponse)
	for {
		part, err := stream.Recv()
		if err == io.EOF {
			return reply{message: all}
		}
		if err != nil {
			return reply{err: status.Convert(err)}
		}
		proto.Merge(all, part.RangeResponse)
	}
}
