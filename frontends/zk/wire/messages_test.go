package wire_test

import (
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// message is what every type of the package is.
type message interface {
	Decode(r *jute.Reader)
	Append(dst []byte) []byte
}

// exchange is an operation's messages; nil is none.
type exchange struct {
	request, response func() message
}

func of[T any, P interface {
	*T
	message
}]() message {
	return P(new(T))
}

// exchanges has every operation that a client may ask for.
var exchanges = map[wire.OpCode]exchange{
	wire.OpCreate:               {of[wire.CreateRequest], of[wire.CreateResponse]},
	wire.OpDelete:               {of[wire.DeleteRequest], nil},
	wire.OpExists:               {of[wire.ExistsRequest], of[wire.ExistsResponse]},
	wire.OpGetData:              {of[wire.GetDataRequest], of[wire.GetDataResponse]},
	wire.OpSetData:              {of[wire.SetDataRequest], of[wire.SetDataResponse]},
	wire.OpGetACL:               {of[wire.GetACLRequest], of[wire.GetACLResponse]},
	wire.OpSetACL:               {of[wire.SetACLRequest], of[wire.SetACLResponse]},
	wire.OpGetChildren:          {of[wire.GetChildrenRequest], of[wire.GetChildrenResponse]},
	wire.OpSync:                 {of[wire.SyncRequest], of[wire.SyncResponse]},
	wire.OpPing:                 {nil, nil},
	wire.OpGetChildren2:         {of[wire.GetChildren2Request], of[wire.GetChildren2Response]},
	wire.OpCheck:                {of[wire.CheckVersionRequest], nil},
	wire.OpMulti:                {of[wire.MultiRequest], of[wire.MultiResponse]},
	wire.OpCreate2:              {of[wire.CreateRequest], of[wire.Create2Response]},
	wire.OpReconfig:             {of[wire.ReconfigRequest], of[wire.GetDataResponse]},
	wire.OpCheckWatches:         {of[wire.CheckWatchesRequest], nil},
	wire.OpRemoveWatches:        {of[wire.RemoveWatchesRequest], nil},
	wire.OpCreateContainer:      {of[wire.CreateRequest], of[wire.Create2Response]},
	wire.OpCreateTTL:            {of[wire.CreateTTLRequest], of[wire.Create2Response]},
	wire.OpMultiRead:            {of[wire.MultiRequest], of[wire.MultiResponse]},
	wire.OpAuth:                 {of[wire.AuthPacket], nil},
	wire.OpSetWatches:           {of[wire.SetWatches], nil},
	wire.OpSASL:                 {of[wire.SASLMessage], of[wire.SASLMessage]},
	wire.OpGetEphemerals:        {of[wire.GetEphemeralsRequest], of[wire.GetEphemeralsResponse]},
	wire.OpGetAllChildrenNumber: {of[wire.GetAllChildrenNumberRequest], of[wire.GetAllChildrenNumberResponse]},
	wire.OpSetWatches2:          {of[wire.SetWatches2], nil},
	wire.OpAddWatch:             {of[wire.AddWatchRequest], of[wire.ErrorResponse]},
	wire.OpWhoAmI:               {nil, of[wire.WhoAmIResponse]},
	wire.OpCloseSession:         {nil, nil},
}

// framing is the messages that are not of one operation.
var framing = []func() message{
	of[wire.RequestHeader], of[wire.ReplyHeader], of[wire.ErrorResponse],
	of[wire.ConnectRequest], of[wire.ConnectResponse], of[wire.WatcherEvent],
	of[wire.MultiHeader], of[wire.Stat],
}

// all has a maker of every message, some of them twice.
func all() []func() message {
	makers := framing
	for op := wire.OpCode(-20); op < 200; op++ {
		e := exchanges[op]
		for _, m := range []func() message{e.request, e.response} {
			if m != nil {
				makers = append(makers, m)
			}
		}
	}
	return makers
}
