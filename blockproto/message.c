/*
 * Names of messages: see message.h.  What they are made of is in
 * message_encode.c and message_decode.c.
 */
#include "blockproto/message.h"

const char *
message_name(enum message_type type)
{
	switch (type) {
	case MESSAGE_CLUSTER_CONFIG:
		return "cluster-config";
	case MESSAGE_INDEX:
		return "index";
	case MESSAGE_INDEX_UPDATE:
		return "index-update";
	case MESSAGE_REQUEST:
		return "request";
	case MESSAGE_RESPONSE:
		return "response";
	case MESSAGE_PROGRESS:
		return "progress";
	case MESSAGE_PING:
		return "ping";
	case MESSAGE_CLOSE:
		return "close";
	case MESSAGE_CHUNKS_REQUEST:
		return "chunks-request";
	case MESSAGE_CHUNKS:
		return "chunks";
	case MESSAGE_ECHO:
		return "echo";
	case MESSAGE_SIGNAL:
		return "signal";
	case MESSAGE_MEMBERS:
		return "members";
	case MESSAGE_FORWARD:
		return "forward";
	case MESSAGE_UNKNOWN:
		break;
	}
	return "unknown";
}
