// Package outbound sends webhooks to the app: it builds their bodies, signs them, delivers them durably and keeps every attempt.
//
// # From an event to a delivery
//
// A Send method is called inside the transaction that makes the event true. It reads the environment's settings, applies the
// switches and the connection's URL override, and stores one delivery per endpoint together with the queue job that will make
// the attempts. So an event is delivered if and only if it happened, whatever is killed in between. An event has an id of its
// own, a delivery too; both stay the same over all attempts, and receivers can tell repetitions by them.
//
// # Attempts
//
// A delivery succeeds with a 2xx within 20 seconds. Anything else, a redirect included, is repeated by [Plan]: after 100 and 200
// ms. The number of the attempt is stored before it is made, so a process that is killed in the middle neither starts over nor
// exceeds the plan; an attempt whose end was not recorded counts. The endpoints of an environment don't wait for each other.
//
// # What breaks it
//
// A receiver that answers 2xx before it has stored the event. Delivery is at least once and in no particular order.
package outbound
