package core

import "context"

// WatchID names a watch within its Feed. The front end chooses it.
type WatchID int64

// AllWatches stands for every watch of a feed in RequestProgress.
const AllWatches WatchID = -1

// WatchSpec says which changes a watch wants.
type WatchSpec struct {
	Interval
	// Start is the first revision wanted; zero is the next one. One in the
	// future is waited for in silence.
	Start Rev
	// PrevKV asks for Change.Prev to be filled in.
	PrevKV bool
	// NoPut and NoDelete leave out changes of that kind.
	NoPut, NoDelete bool
}

// Feed is one reader's end of the change feed: any number of watches, one
// bounded queue, one consumer. Whatever it carries is in one order: a watch's
// Created delivery precedes all its events, and none follow its Canceled one.
//
// For each watch the events of whole revisions arrive in revision order, none
// missing and none twice, from Start on. A slow consumer costs bounded memory:
// what does not fit in the queue is read again from the history when there is
// room.
//
// Next is for one goroutine; the other methods are safe for concurrent use.
type Feed interface {
	// Add starts a watch. The id must not be in use.
	Add(id WatchID, spec WatchSpec)
	// Remove ends a watch; it reports whether there was one. A Canceled delivery
	// follows.
	Remove(id WatchID) bool
	// RequestProgress asks for a Progress delivery for one watch, or for
	// AllWatches. The latter comes only if every watch of the feed, and at least
	// one, is synced: has been sent all there is (etcd T-49); else the request is
	// dropped. The former comes once the watch is synced.
	RequestProgress(id WatchID)
	// Next returns what is due next. It blocks until there is something, ctx
	// ends or the feed is closed (Stopped). The call says that the Delivery before
	// needs no memory any more.
	Next(ctx context.Context) (Delivery, error)
	Close()
}

// DeliveryKind tells the deliveries of a Feed apart.
type DeliveryKind uint8

// The kinds of delivery.
const (
	// DeliverEvents carries Changes.
	DeliverEvents DeliveryKind = iota
	// DeliverCreated confirms Add.
	DeliverCreated
	// DeliverCanceled confirms Remove.
	DeliverCanceled
	// DeliverCompacted ends a watch that wanted revisions that are gone.
	DeliverCompacted
	// DeliverProgress says that all events up to Rev have been delivered.
	DeliverProgress
)

// Delivery is one message of a Feed.
type Delivery struct {
	Kind  DeliveryKind
	Watch WatchID
	// Rev is the store's revision as the reader should know it: of a synced
	// watch's events their own revision, the last one's if the reader is late and is
	// told of several; of a watch that catches up the revision current at that time
	// (etcd T-46). Between the watches of a feed revisions need not come in order.
	Rev Rev
	// More says that the next delivery is there already: what is done once for
	// several may wait for it.
	More bool
	// CompactRev is the revision compacted to, for DeliverCompacted.
	CompactRev Rev
	// Changes are the events, of one or more whole revisions, in order.
	Changes []Change
}
