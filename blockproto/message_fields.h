/*
 * Field numbers of bep.proto, for the files that encode and decode.
 */
#ifndef HOLDFAST_BLOCKPROTO_MESSAGE_FIELDS_H
#define HOLDFAST_BLOCKPROTO_MESSAGE_FIELDS_H

/* Says that the extension in a Hello is ours ("Hold"), and its version. */
#define MESSAGE_EXTENSION_MAGIC 0x486f6c64u
#define MESSAGE_EXTENSION_VERSION 1u

enum hello_field {
	HELLO_DEVICE_NAME = 1,
	HELLO_CLIENT_NAME = 2,
	HELLO_CLIENT_VERSION = 3,
	HELLO_NUM_CONNECTIONS = 4,
	HELLO_TIMESTAMP = 5,
	HELLO_EXTENSION = 2047,
};

enum extension_field {
	EXTENSION_MAGIC = 1,
	EXTENSION_VERSION = 2,
	EXTENSION_FEATURES = 3,
};

enum header_field {
	HEADER_TYPE = 1,
	HEADER_COMPRESSION = 2,
};

enum cluster_config_field {
	CLUSTER_CONFIG_FOLDER = 1,
	CLUSTER_CONFIG_SECONDARY = 2,
};

enum folder_field {
	FOLDER_ID = 1,
	FOLDER_LABEL = 2,
	FOLDER_TYPE = 3,
	FOLDER_STOP_REASON = 7,
	FOLDER_DEVICE = 16,
};

enum device_field {
	DEVICE_ID = 1,
	DEVICE_NAME = 2,
	DEVICE_ADDRESS = 3,
	DEVICE_COMPRESSION = 4,
	DEVICE_CERT_NAME = 5,
	DEVICE_MAX_SEQUENCE = 6,
	DEVICE_INTRODUCER = 7,
	DEVICE_INDEX_ID = 8,
	DEVICE_SKIP_REMOVALS = 9,
	DEVICE_TOKEN = 10,
};

enum index_field {
	INDEX_FOLDER = 1,
	INDEX_FILE = 2,
	INDEX_LAST_SEQUENCE = 3,
	INDEX_PREV_SEQUENCE = 4,
};

enum file_field {
	FILE_NAME = 1,
	FILE_TYPE = 2,
	FILE_SIZE = 3,
	FILE_PERMISSIONS = 4,
	FILE_MODIFIED_S = 5,
	FILE_DELETED = 6,
	FILE_INVALID = 7,
	FILE_NO_PERMISSIONS = 8,
	FILE_VERSION = 9,
	FILE_SEQUENCE = 10,
	FILE_MODIFIED_NS = 11,
	FILE_MODIFIED_BY = 12,
	FILE_BLOCK_SIZE = 13,
	FILE_PLATFORM = 14,
	FILE_BLOCK = 16,
	FILE_LINK_TARGET = 17,
	FILE_BLOCKS_HASH = 18,
	FILE_PREVIOUS_BLOCKS_HASH = 20,
};

enum block_field {
	BLOCK_OFFSET = 1,
	BLOCK_LEN = 2,
	BLOCK_HASH = 3,
};

enum vector_field {
	VECTOR_COUNTER = 1,
};

enum counter_field {
	COUNTER_ID = 1,
	COUNTER_VALUE = 2,
};

enum platform_field {
	PLATFORM_UNIX = 1,
	PLATFORM_WINDOWS = 2,
	PLATFORM_LINUX = 3,
	PLATFORM_DARWIN = 4,
	PLATFORM_FREEBSD = 5,
	PLATFORM_NETBSD = 6,
};

enum owner_field { /* UnixData 1 and 2, WindowsData 1 */
	OWNER_NAME = 1,
	OWNER_GROUP = 2,
};

enum xattr_field { /* XattrData 1, and Xattr 1 */
	XATTR_ITEM = 1,
	XATTR_NAME = 1,
};

enum request_field {
	REQUEST_ID = 1,
	REQUEST_FOLDER = 2,
	REQUEST_NAME = 3,
	REQUEST_OFFSET = 4,
	REQUEST_LEN = 5,
	REQUEST_HASH = 6,
	REQUEST_FROM_TEMPORARY = 7,
	REQUEST_BLOCK_NO = 9,
};

enum response_field {
	RESPONSE_ID = 1,
	RESPONSE_DATA = 2,
	RESPONSE_CODE = 3,
};

enum progress_field {
	PROGRESS_FOLDER = 1,
	PROGRESS_UPDATE = 2,
};

enum progress_update_field {
	PROGRESS_UPDATE_TYPE = 1,
	PROGRESS_UPDATE_NAME = 2,
	PROGRESS_UPDATE_VERSION = 3,
	PROGRESS_UPDATE_BLOCK = 4,
	PROGRESS_UPDATE_BLOCK_SIZE = 5,
};

enum close_field {
	CLOSE_REASON = 1,
};

enum chunks_request_field {
	CHUNKS_REQUEST_ID = 1,
	CHUNKS_REQUEST_FOLDER = 2,
	CHUNKS_REQUEST_NAME = 3,
	CHUNKS_REQUEST_VERSION = 4,
	CHUNKS_REQUEST_OFFSET = 5,
	CHUNKS_REQUEST_LEN = 6,
};

enum chunks_field {
	CHUNKS_ID = 1,
	CHUNKS_CODE = 2,
	CHUNKS_LENGTH = 3,
	CHUNKS_HASH = 4,
};

enum echo_field {
	ECHO_ID = 1,
	ECHO_REPLY = 2,
	ECHO_REFUSED = 3,
	ECHO_MORE = 4,
	ECHO_NAME = 5,
	ECHO_SEEN = 6,
	ECHO_UPTIME = 7,
};

enum signal_field {
	SIGNAL_BODY = 1,
};

enum forward_field {
	FORWARD_WORD = 1,
	FORWARD_CHANNEL = 2,
	FORWARD_OWN = 3,
	FORWARD_PORT = 4,
	FORWARD_CREDIT = 5,
	FORWARD_CODE = 6,
	FORWARD_DATA = 7,
};

enum members_field {
	MEMBERS_BODY = 1,
};

#endif
