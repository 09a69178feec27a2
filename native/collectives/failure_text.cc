#include "failure_text.h"

#include <vector>

#include "reduce.h"

namespace shardrun {

namespace {

std::string Number(uint64_t value) { return std::to_string(value); }

std::string Quoted(const std::string& label) { return label.empty() ? "" : "\"" + label + "\""; }

// The label, if there is one, before what it labels.
std::string Labelled(const std::string& label, const char* separator, const std::string& what) {
  return label.empty() ? what : Quoted(label) + separator + what;
}

// "layers.3.o_proj" [14336] float32, 57344 bytes. Empty for a barrier.
std::string What(const Frame& frame, const std::string& label) {
  const std::string bytes = Number(frame.call_bytes) + " bytes";
  switch (frame.op) {
    case Op::kAllReduce:
    case Op::kReduceScatter:
      return Labelled(
          label, " ",
          "[" + Number(frame.call_bytes / ElementBytes(frame.type)) + "] " + DataTypeName(frame.type) + ", " + bytes);
    case Op::kBroadcastMessage:
      return Labelled(label, ", ", frame.call_bytes == 0 ? "a message" : "a message of " + bytes);
    case Op::kBarrier:
      return Quoted(label);
    case Op::kAllGather:
    case Op::kBroadcast:
    case Op::kSend:
    case Op::kFailure:
      break;
  }
  return Labelled(label, ", ", bytes);
}

// What a rank is doing, as the other side needs it to find the difference: step 7: allReduce (sum) of "a" [4] float32,
// 16 bytes.
std::string Doing(const Frame& frame, const std::string& label) {
  std::string text = "step " + Number(frame.sequence) + ": " + OpName(frame.op);
  if (frame.op == Op::kAllReduce || frame.op == Op::kReduceScatter) {
    text += frame.reduce == ReduceOp::kSum ? " (sum)" : " (max)";
  }
  if (frame.root >= 0) text += " from rank " + std::to_string(frame.root);
  const std::string what = What(frame, label);
  return what.empty() ? text : text + " of " + what;
}

std::string List(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

class Writer {
 public:
  Writer(const ConnectOptions& group, const CallDescription& call) : group_(group), call_(call) {}

  std::string Timeout(const Deadline& deadline, const Failure& failure) const {
    std::vector<std::string> silent;
    std::vector<std::string> complaints;
    for (const Failure::Wait& wait : failure.waits) {
      if (wait.sending) {
        complaints.push_back(Peer(wait.peer) + " took only " + Number(wait.done_bytes) + " of " +
                             Number(wait.total_bytes) + " bytes");
      } else if (wait.done_bytes > 0) {
        complaints.push_back("only " + Number(wait.done_bytes) + " bytes received from " + Peer(wait.peer));
      } else {
        silent.push_back(Peer(wait.peer));
      }
    }
    if (!silent.empty()) complaints.insert(complaints.begin(), "nothing received from " + List(silent));
    return Verb() + " timed out after " + std::to_string(deadline.timeout_ms()) + " ms on " + Here() + ": " +
           List(complaints) + About(" for ") + ". " + LookAtOutput(failure, "may be stopped or busy") +
           ", or allow more time with timeoutMs.";
  }

  std::string Lost(const Deadline& deadline, const Failure& failure) const {
    return Verb() + " failed after " + std::to_string(deadline.ElapsedMs()) + " ms on " + Here() +
           ": the connection to " + Peer(failure.waits[0].peer) + " ended" + About(" while waiting for ") + ". " +
           LookAtOutput(failure, "may have ended or crashed") + ".";
  }

  std::string Silent(const Deadline& deadline, const Failure& failure) const {
    return Verb() + " failed after " + std::to_string(deadline.ElapsedMs()) + " ms on " + Here() +
           ": nothing has come through the network from the machine of " + Peer(failure.waits[0].peer) + " for " +
           Number(failure.silence_ms) + " ms" + About(" while waiting for ") +
           ". Check the cable and the network between the two hosts.";
  }

  std::string Mismatch(const Failure& failure) const {
    const std::string start = Verb() + " failed on " + Here() + ": " + Peer(failure.waits[0].peer);
    const Frame& ours = failure.ours;
    const Frame& theirs = failure.theirs;
    if (theirs.magic != Frame::kMagic) {
      return start + " sent something that is no message. The ranks may run different versions of shardrun: " +
             "install the same one for all.";
    }
    if (theirs.communicator != ours.communicator || theirs.epoch != ours.epoch) {
      return start + " speaks for communicator " + Number(theirs.communicator) + ", epoch " + Number(theirs.epoch) +
             ", where this rank has communicator " + Number(ours.communicator) + ", epoch " + Number(ours.epoch) +
             ". Every rank must create its communicators with the same ids and epochs.";
    }
    const std::string their_label(theirs.label, strnlen(theirs.label, sizeof(theirs.label)));
    return start + " is at " + Doing(theirs, their_label) + "; this rank at " + Doing(ours, call_.label) +
           (theirs.op == ours.op && theirs.layout != ours.layout ? ", with other sizes per rank" : "") +
           ". Every rank must make the same calls, in the same order and with the same sizes.";
  }

  std::string PeerFailed(const Failure& failure) const {
    const bool known = failure.origin >= 0 && failure.origin < group_.world_size;
    return Verb() + " failed on " + Here() + ": " + Peer(known ? failure.origin : failure.waits[0].peer) +
           " gave up with: " + failure.text;
  }

 private:
  std::string Verb() const { return call_.verb; }
  std::string Here() const { return group_.Name(group_.rank); }
  std::string Peer(int peer) const {
    const PeerAddress& address = group_.peers[peer];
    return "rank " + std::to_string(address.rank) + " (" + address.host + ", " + group_.WireTo(peer) + ")";
  }
  std::string About(const char* preposition) const {
    // That a peer does not take a message of so many bytes has been said.
    const bool bytes_known = call_.frame.op == Op::kSend && call_.verb == std::string("send");
    const std::string label = call_.label;
    const std::string what = !bytes_known ? What(call_.frame, label) : Quoted(label);
    return what.empty() ? "" : preposition + what;
  }
  std::string LookAtOutput(const Failure& failure, const char* suspicion) const {
    std::vector<std::string> ranks;
    for (const Failure::Wait& wait : failure.waits) ranks.push_back(std::to_string(group_.peers[wait.peer].rank));
    return std::string("Look at the output of ") + (ranks.size() == 1 ? "rank " : "ranks ") + List(ranks) + ", which " +
           suspicion;
  }

  const ConnectOptions& group_;
  const CallDescription& call_;
};

}  // namespace

const char* OpName(Op op) {
  switch (op) {
    case Op::kAllReduce:
      return "allReduce";
    case Op::kAllGather:
      return "allGather";
    case Op::kReduceScatter:
      return "reduceScatter";
    case Op::kBroadcast:
      return "broadcast";
    case Op::kBroadcastMessage:
      return "broadcastMessage";
    case Op::kBarrier:
      return "barrier";
    case Op::kSend:
      return "send";
    case Op::kFailure:
      break;
  }
  return "an unknown call";
}

std::string FailureText(const ConnectOptions& group, const CallDescription& call, const Deadline& deadline,
                        const Failure& failure) {
  const Writer writer(group, call);
  switch (failure.reason) {
    case Failure::Reason::kTimeout:
      return writer.Timeout(deadline, failure);
    case Failure::Reason::kLost:
      return writer.Lost(deadline, failure);
    case Failure::Reason::kSilent:
      return writer.Silent(deadline, failure);
    case Failure::Reason::kMismatch:
      return writer.Mismatch(failure);
    case Failure::Reason::kPeerFailed:
    case Failure::Reason::kAborted:
      break;
  }
  return writer.PeerFailed(failure);
}

}  // namespace shardrun
